#!/usr/bin/python3
"""turns.py BUS FILE BOUND [WHAT...]: no turn of pngwd's loop is long when it is asked about all it has.

Of each WHAT: how much processor time it took, the longest turn, and how many there were, as tests/preload-turns.c
writes them to FILE. Fails where one turn had more than BOUND of the whole.
"""

import mmap
import struct
import sys
import time

import dbus
import dbus.bus
import dbus.lowlevel

bus, bound = dbus.bus.BusConnection(sys.argv[1]), float(sys.argv[3])
with open(sys.argv[2], "r+b") as file:
    turns = mmap.mmap(file.fileno(), 24)


def call(path, interface, member, signature="", *values):
    """The answer, not taken to pieces: that would last longer than what is measured."""
    message = dbus.lowlevel.MethodCallMessage("org.pngw", path, interface, member)
    message.append(*values, signature=signature)
    return bus.send_message_with_reply_and_block(message, 600)


def examine():
    checks = call("/org/pngw/diagnosis", "org.pngw.Diagnosis1", "Examine").get_args_list()[0]
    return next(str(check["Finding"]) for check in checks if check["Id"] == "keys.low")


def listed(member, signature="", *values):
    return len(call("/org/pngw", "org.pngw.Gateway1", member, signature, *values).get_args_list()[0])


def revoke_all():
    path = str(call("/org/pngw", "org.pngw.Gateway1", "RevokeAll", "a{sv}", {}).get_args_list()[0])

    def get(name):
        return call(path, "org.freedesktop.DBus.Properties", "Get", "ss", "org.pngw.Procedure1",
                    name).get_args_list()[0]
    polls = 0
    while get("State") != "ended":
        polls += 1
        time.sleep(0.05)
    return "%d verdicts kept, asked %d times before the last" % (len(get("Verdicts")), polls)


WHAT = {
    "ListElements": lambda: listed("ListElements"),
    "ListPools": lambda: listed("ListPools", "as", []),
    "Examine": examine,
    "RevokeAll": revoke_all,
}
# Reading properties is for whoever has looked.
call("/org/pngw", "org.pngw.Gateway1", "GetStatus")
bad = 0
for what in sys.argv[4:] or WHAT:
    time.sleep(0.2)
    turns[:] = bytes(24)
    result = WHAT[what]()
    longest, whole, count = struct.unpack("QQQ", turns[:])
    print("%s: %s; %.0f ms in %d turns, the longest %.0f ms" % (what, result, whole / 1e6, count, longest / 1e6),
          flush=True)
    if longest > bound * whole:
        print("%s: one turn had %.0f ms of %.0f" % (what, longest / 1e6, whole / 1e6))
        bad = 1
sys.exit(bad)
