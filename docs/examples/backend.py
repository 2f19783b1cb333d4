#!/usr/bin/env python3
"""A small, complete backend of a host app. It signs in its users, creates a raid for two of them, credits what they
did in the app, and reads the feed of all raids' events.

    raidhall serve &
    RAIDHALL_TOKEN=$(raidhall token --scope service --subject host-app --ttl-secs 86400) python3 docs/examples/backend.py

It needs only Python's standard library. `docs/INTEGRATION.md` explains it.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request

URL = os.environ.get("RAIDHALL_URL", "http://127.0.0.1:8080") + "/api/v1"
TOKEN = os.environ["RAIDHALL_TOKEN"]


def request(method, path, body=None, key=None, token=TOKEN, retry_secs=30.0):
    """Sends a request and returns the response's body. Retries temporary errors for `retry_secs` seconds; with a key, a
    retry never takes effect twice."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    if key:
        headers["Idempotency-Key"] = key
    data = None if body is None else json.dumps(body).encode()
    deadline = time.monotonic() + retry_secs
    while True:
        attempt = urllib.request.Request(URL + path, data=data, method=method, headers=headers)
        wait = 0.5
        try:
            with urllib.request.urlopen(attempt, timeout=10) as response:
                return json.load(response)
        except urllib.error.HTTPError as refused:
            error = json.load(refused)["error"]
            if not error["retry"] or time.monotonic() > deadline:
                raise RuntimeError(f"{method} {path}: {error['type']}: {error['message']} {error['fields']}") from refused
            wait = (error["retry_after_ms"] or 500) / 1000
        except OSError as lost:  # No response: the server is restarting, or the network is down.
            if time.monotonic() > deadline:
                raise RuntimeError(f"{method} {path}: {lost}") from lost
        time.sleep(wait)


def player(user, name):
    """Returns the id of the player of one of our users, always the same for a user."""
    return request("POST", "/players", {"external_id": user, "name": name})["data"]["id"]


def follow(cursor, until):
    """Yields every raid's events after a feed cursor, in the order of their commits, up to the first for which `until`
    returns true."""
    while True:
        query = f"?limit=100&after={cursor}" if cursor else "?limit=100"
        page = request("GET", f"/events{query}")
        for event in page["data"]:
            yield event
            if until(event):
                return
        # A real backend stores the cursor together with the results of the events, in one transaction.
        cursor = page["next_cursor"]
        if not page["data"]:
            time.sleep(1)


def main():
    run = str(time.time_ns())  # Names this run's requests, so that each can be repeated.
    ada = player("user-1", "Ada")
    ben = player("user-2", "Ben")

    # Give these tokens to the user's client, which signs in with them, plays, and renews them itself.
    pair = request("POST", f"/players/{ada}/tokens")["data"]
    print(f"a token for {pair['player']['name']}, good for {pair['expires_in']} s")

    raid = request("POST", "/raids", {
        "title": "Thirty good habits", "target_xp": 100, "target_tasks": 0, "max_members": 10, "leader": ada,
    }, key=f"raid-{run}")["data"]
    print(f"raid {raid['id']}: clients connect to {raid['ws_url']}")
    request("POST", f"/raids/{raid['id']}/members", {"player": ben}, key=f"member-{run}")

    # Only the leader may start the raid. Here the leader is a user, so this request has the user's token.
    start = {"cmd": {"type": "start"}}
    request("POST", f"/raids/{raid['id']}/commands", start, key=f"start-{run}", token=pair["access_token"])

    for number, (member, xp) in enumerate([(ada, 30), (ben, 40), (ada, 30)]):
        done = {"type": "contribute", "player": member, "xp": xp, "kind": "habit", "note": "a walk"}
        request("POST", f"/raids/{raid['id']}/commands", {"cmd": done}, key=f"habit-{run}-{number}")

    for event in follow(None, lambda event: event["raid"] == raid["id"] and event["type"] == "raid_completed"):
        if event["raid"] == raid["id"]:
            print(f"{event['seq']:>3} {event['type']}")
    print("won")


if __name__ == "__main__":
    try:
        main()
    except RuntimeError as error:
        sys.exit(f"backend: {error}")
