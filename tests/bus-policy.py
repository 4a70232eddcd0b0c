#!/usr/bin/env python3
"""Somebody on the bus. Used by tests/test-bus-policy.sh.

    bus-policy.py BUS own                     takes the name org.pngw: "owner", or the error
    bus-policy.py BUS listen SECONDS          says "listening", then the signals of org.pngw it gets
    bus-policy.py BUS serve NAME SECONDS      says "serving", and answers Ping as that service
    bus-policy.py BUS ping NAME PATH          calls Ping there without naming an interface: "pong", or the error
    bus-policy.py BUS agent NAME              asks the agent of that connection for a password: the error
"""
import sys

import dbus
import dbus.bus
import dbus.lowlevel
import dbus.mainloop.glib
import dbus.service
from gi.repository import GLib


class Served(dbus.service.Object):
    @dbus.service.method("org.example.Served1", out_signature="s")
    def Ping(self):
        return "pong"


def main():
    dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
    bus = dbus.bus.BusConnection(sys.argv[1])
    what = sys.argv[2]
    try:
        if what == "own":
            bus.request_name("org.pngw", dbus.bus.NAME_FLAG_DO_NOT_QUEUE)
            print("owner")
        elif what == "agent":
            agent = dbus.Interface(bus.get_object(sys.argv[3], "/org/pngw/agent", introspect=False),
                                   "org.pngw.Agent1")
            agent.RequestPassword("alice", "figure7")
        elif what == "serve":
            served = Served(dbus.service.BusName(sys.argv[3], bus), "/served")
            print("serving", flush=True)
            loop = GLib.MainLoop()
            GLib.timeout_add(int(float(sys.argv[4]) * 1000), loop.quit)
            loop.run()
            served.remove_from_connection()
        elif what == "ping":
            call = dbus.lowlevel.MethodCallMessage(destination=sys.argv[3], path=sys.argv[4], interface=None,
                                                   method="Ping")
            print(*bus.send_message_with_reply_and_block(call, 20.0).get_args_list())
        elif what == "listen":
            bus.add_signal_receiver(lambda *_, member=None: print(member, flush=True), member_keyword="member",
                                    dbus_interface="org.pngw.Gateway1")
            print("listening", flush=True)
            loop = GLib.MainLoop()
            GLib.timeout_add(int(float(sys.argv[3]) * 1000), loop.quit)
            loop.run()
    except dbus.DBusException as error:
        print(error.get_dbus_name(), error.get_dbus_message())


main()
