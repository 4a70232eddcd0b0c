#!/usr/bin/env python3
"""Somebody with an agent for whatever pairing there is. Used by tests/test-bluetooth-commands.sh.

    pairing-agent.py BUS [--login] [pair|detach ADDRESS]

With --login the PIN of a role is in $PIN; whoever has logged in registers the agent and logs out. Then it says
"ready". With pair or detach a second connection without an agent begins a pairing. What the agent is asked is said,
and allowed. It ends with its input, after what has come by then.
"""
import os
import sys

import dbus
import dbus.bus
import dbus.mainloop.glib
import dbus.service
from gi.repository import GLib


def pipe_with(text):
    end, other = os.pipe()
    os.write(other, text.encode())
    os.close(other)
    return dbus.types.UnixFd(end)


class Agent(dbus.service.Object):
    @dbus.service.method("org.pngw.Agent1", in_signature="ssss", out_signature="b")
    def RequestConfirmation(self, address, _name, kind, value):
        print("asked", address, kind, value, flush=True)
        return True

    @dbus.service.method("org.pngw.Agent1", in_signature="s")
    def Cancel(self, why):
        print("cancelled:", why, flush=True)


def main():
    dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
    bus = dbus.bus.BusConnection(sys.argv[1])
    agent = Agent(bus, "/agent")
    session = dbus.Interface(bus.get_object("org.pngw", "/org/pngw", introspect=False), "org.pngw.Session1")
    login = "--login" in sys.argv
    if login:
        session.Login(pipe_with(os.environ["PIN"]), {}, signature="ha{sv}")
    dbus.Interface(session, "org.pngw.AgentManager1").RegisterAgent(
        "/agent", {"Default": True}, signature="oa{sv}")
    if login:
        session.Logout()
    if sys.argv[-2] in ("pair", "detach"):
        other = dbus.bus.BusConnection(sys.argv[1])
        dbus.Interface(other.get_object("org.pngw", "/org/pngw/bluetooth", introspect=False),
                       "org.pngw.Bluetooth1").Pair(sys.argv[-1], {"Detach": sys.argv[-2] == "detach"},
                                                   signature="sa{sv}")
    print("ready", flush=True)
    loop = GLib.MainLoop()
    GLib.io_add_watch(0, GLib.IO_IN | GLib.IO_HUP, lambda *_: loop.quit())
    loop.run()
    session.WhoAmI()
    while GLib.MainContext.default().iteration(False):
        pass
    agent.remove_from_connection()
    print("end", flush=True)


main()
