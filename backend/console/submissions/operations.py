"""The operations of the API that several of these pages use."""

FORM = ("GET", "/v1/forms/{form_id}")
OF_ALL = ("GET", "/v1/submissions")
OF_FORM = ("GET", "/v1/forms/{form_id}/submissions")
COUNT = ("GET", "/v1/forms/{form_id}/submissions/count")
SUBMISSION = ("GET", "/v1/submissions/{submission_id}")
CHANGE = ("PATCH", "/v1/submissions/{submission_id}")
DELETE = ("DELETE", "/v1/submissions/{submission_id}")
WEBHOOKS = ("GET", "/v1/forms/{form_id}/webhooks")
REPLAY = ("POST", "/v1/deliveries/{delivery_id}/replay")
