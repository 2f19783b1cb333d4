#!/usr/bin/env python3
"""A host app's backend, small and whole: it lets its users in, makes a raid for two of them, credits what they did in the app,
and follows everything that happens in any raid.

    raidhall serve &
    RAIDHALL_TOKEN=$(raidhall token --scope service --subject host-app --ttl-secs 86400) python3 docs/examples/backend.py

Nothing but Python's standard library. `docs/INTEGRATION.md` explains it.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request

URL = os.environ.get("RAIDHALL_URL", "http://127.0.0.1:8080") + "/api/v1"
TOKEN = os.environ["RAIDHALL_TOKEN"]


def ask(method, path, body=None, key=None, patience=30.0):
    """The answer's body. What may be tried again is, for so many seconds: with a key, trying again does nothing twice."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    if key:
        headers["Idempotency-Key"] = key
    data = None if body is None else json.dumps(body).encode()
    until = time.monotonic() + patience
    while True:
        request = urllib.request.Request(URL + path, data=data, method=method, headers=headers)
        wait = 0.5
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refused:
            error = json.load(refused)["error"]
            if not error["retry"] or time.monotonic() > until:
                raise RuntimeError(f"{method} {path}: {error['type']}: {error['message']} {error['fields']}") from refused
            wait = (error["retry_after_ms"] or 500) / 1000
        except OSError as lost:  # No answer at all: the server restarts, or the network does.
            if time.monotonic() > until:
                raise RuntimeError(f"{method} {path}: {lost}") from lost
        time.sleep(wait)


def player(user, name):
    """The player of one of our users: the same one each time."""
    return ask("POST", "/players", {"external_id": user, "name": name})["data"]["id"]


def follow(place, until):
    """Every event of every raid behind a place, in the order of commits, until one makes `until` true."""
    while True:
        query = f"?limit=100&after={place}" if place else "?limit=100"
        page = ask("GET", f"/events{query}")
        for event in page["data"]:
            yield event
            if until(event):
                return
        # A real backend writes this beside what it did with the events, in one transaction.
        place = page["next_cursor"]
        if not page["data"]:
            time.sleep(1)


def main():
    run = str(time.time_ns())  # Names this run's requests, so that each can be repeated.
    ada, ben = player("user-1", "Ada"), player("user-2", "Ben")

    # Give these to the user's client: it signs in with them, plays, and renews them by itself.
    pair = ask("POST", f"/players/{ada}/tokens")["data"]
    print(f"a token for {pair['player']['name']}, good for {pair['expires_in']} s")

    raid = ask("POST", "/raids", {
        "title": "Thirty good habits", "target_xp": 100, "target_tasks": 0, "max_members": 10, "leader": ada,
    }, key=f"raid-{run}")["data"]
    print(f"raid {raid['id']}: clients connect to {raid['ws_url']}")
    ask("POST", f"/raids/{raid['id']}/members", {"player": ben}, key=f"member-{run}")

    # Starting is the leader's: here the leader is a user, and this their request.
    ask_as(pair["access_token"], raid["id"], {"type": "start"}, f"start-{run}")

    for number, (who, xp) in enumerate([(ada, 30), (ben, 40), (ada, 30)]):
        done = {"type": "contribute", "player": who, "xp": xp, "kind": "habit", "note": "a walk"}
        ask("POST", f"/raids/{raid['id']}/commands", {"cmd": done}, key=f"habit-{run}-{number}")

    for event in follow(None, lambda event: event["raid"] == raid["id"] and event["type"] == "raid_completed"):
        if event["raid"] == raid["id"]:
            print(f"{event['seq']:>3} {event['type']}")
    print("won")


def ask_as(token, raid, command, key):
    """The same as a user's client would."""
    global TOKEN
    ours, TOKEN = TOKEN, token
    try:
        return ask("POST", f"/raids/{raid}/commands", {"cmd": command}, key=key)
    finally:
        TOKEN = ours


if __name__ == "__main__":
    try:
        main()
    except RuntimeError as error:
        sys.exit(f"backend: {error}")
