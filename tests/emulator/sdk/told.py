"""What a script that runs a release of the SDK is told, and how it changes the emulator."""

import json
import os
import urllib.request

BASE = os.environ["EMULATOR_HOST"]  # without /api/v1/developer, as the SDK wants it
KEY = os.environ["EMULATOR_KEY"]
CONTROL = os.environ["EMULATOR_CONTROL"]
DATASET = os.environ["EMULATOR_DATASET"]


def mutate(op, **fields):
    body = json.dumps({"op": op, **fields}).encode()
    urllib.request.urlopen(urllib.request.Request(CONTROL + "/mutate", body, method="POST")).close()


def raised(call):
    """The class of what a call raises."""
    try:
        call()
    except Exception as error:  # noqa: BLE001  which class it is, is what the test asserts
        return type(error).__name__
    return None


def report(**found):
    print("REPORT " + json.dumps(found))
