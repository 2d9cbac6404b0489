"""The operations of the API that several of the pages use."""

FORMS = ("GET", "/v1/forms")
CREATE = ("POST", "/v1/forms")
FORM = ("GET", "/v1/forms/{form_id}")
CHANGE = ("PATCH", "/v1/forms/{form_id}")
DUPLICATE = ("POST", "/v1/forms/{form_id}/duplicate")
DELETE = ("DELETE", "/v1/forms/{form_id}")
ENVIRONMENTS = ("GET", "/v1/environments")
