"""Commands on the mailbox: mails that were written to files for want of an SMTP server."""

from formflow.commands import LISTED, Command, argument

MAILBOX = (
    Command(
        "list",
        "GET",
        "/v1/mailbox",
        "List the mails, the newest first.",
        columns=("id", "received_at", "to", "subject"),
        limit=LISTED,
    ),
    Command(
        "show",
        "GET",
        "/v1/mailbox/{mail}",
        "Print what a mail says.",
        (argument("mail", "The mail's id, mail_…"),),
        prints="text",
    ),
)
