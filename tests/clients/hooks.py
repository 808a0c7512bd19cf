"""For fuzz.sh: most of the made-up requests are about people, rides and places that there are.

Without it nearly every ride would be unknown and nearly every point at sea, and no answer beyond 404 and
400 would be looked at. KNOWN names a file with lists of ids by the path variable they stand for.
"""

import json
import os
import zlib

import schemathesis

SOUTH, WEST, HEIGHT, WIDTH = 43.7310, 7.4150, 0.0090, 0.0130

with open(os.environ["KNOWN"], encoding="utf-8") as file:
    known = json.load(file)


def chance(value):
    """A number that is always the same for a value."""
    return zlib.crc32(repr(value).encode("utf-8", "replace"))


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def on_land(value, low, size):
    """A degree within the city, or sometimes the one that was made up."""
    if not is_number(value) or chance(value) % 4 == 0:
        return value
    return low + size * (chance((value, size)) % 1000) / 1000


def moved(value):
    """Moves points into the city and gives fields of known ids known ids."""
    if isinstance(value, dict):
        # Points and amounts are in answers too, so their schemas are open; here an unknown field is refused.
        for own in ({"latitude", "longitude"}, {"currencyCode", "minorUnits"}):
            if own & value.keys() and chance(value) % 4:
                for name in value.keys() - own:
                    del value[name]
        for name, inner in list(value.items()):
            short = name.rsplit(".", 1)[-1]
            if short == "latitude":
                value[name] = on_land(inner, SOUTH, HEIGHT)
            elif short == "longitude":
                value[name] = on_land(inner, WEST, WIDTH)
            elif short == "product" and isinstance(inner, str) and chance(inner) % 2:
                value[name] = "economy"
            elif short == "currencyCode" and isinstance(inner, str) and chance(inner) % 4:
                value[name] = "EUR"
            elif isinstance(inner, str) and chance(inner) % 2:
                ids = known.get("".join("_" + c.lower() if c.isupper() else c for c in name), [])
                value[name] = ids[chance((inner, name)) % len(ids)] if ids else inner
            else:
                moved(inner)
    elif isinstance(value, list):
        for inner in value:
            moved(inner)


def filled(case):
    """Gives most bodies what the example has and they lack: the schema cannot say what a call needs."""
    if not isinstance(case.body, dict) or chance(case.body) % 4 == 0:
        return
    for content in case.operation.definition.raw.get("requestBody", {}).get("content", {}).values():
        for name, value in content.get("example", {}).items():
            if name == "idempotencyKey":
                value = f"key-{chance(case.body)}"
            if name not in case.body and chance((name, case.body)) % 8:
                case.body[name] = json.loads(json.dumps(value))


@schemathesis.hook
def before_call(context, case, kwargs):
    """Changes a request just before it is sent."""
    for name, value in (case.path_parameters or {}).items():
        ids = known.get(name, [])
        if ids and chance(value) % 4:
            case.path_parameters[name] = ids[chance((name, value)) % len(ids)]
    filled(case)
    moved(case.query)
    moved(case.body)
