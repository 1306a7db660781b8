"""Chance alone hardly makes a body that the door takes: who asks, and for which student, is told here."""

import schemathesis

CHANNEL = "ums-pos"
ID_NUMBER = "11010519491231002X"


def adapted(body):
    # Only in place of what has the right form, so that whatever is meant to be wrong stays wrong.
    if isinstance(body, list):
        return [adapted(item) for item in body]
    if isinstance(body, dict):
        if str(body.get("source", "")).startswith("/channels/"):
            body["source"] = f"/channels/{CHANNEL}"
        for holder in (body, body.get("data")):
            if isinstance(holder, dict) and isinstance(holder.get("channel"), str):
                holder["channel"] = CHANNEL
        for person in (body.get("student"), body.get("payer")):
            if isinstance(person, dict) and isinstance(person.get("id_number"), str):
                person["id_number"] = ID_NUMBER
    return body


@schemathesis.hook
def map_body(_, body):
    return adapted(body)
