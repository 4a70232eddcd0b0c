#!/usr/bin/python3
"""A bluetoothd of strings: org.bluez on a private D-Bus, for unit tests (tests/bluez-fake.h).

fake-bluez.py BUS-ADDRESS FD: FD is a SOCK_SEQPACKET socket; each packet is a command, answered
with "ok [TEXT]" (and perhaps a descriptor) or "error TEXT". OBJECT is hci0 or hci0/AA:BB:...;
PROPERTY is NAME=SIGNATURE:VALUE.

  daemon start|stop
  adapter add NAME ADDRESS [PROPERTY...]     adapter remove NAME
  device add OBJECT [PROPERTY...]            device remove OBJECT
  set OBJECT PROPERTY...                     unset OBJECT NAME...
  get OBJECT NAME                            as the fake has it
  rfkill NAME on|off                         blocked: off, and Powered cannot be set
  lacks [INTERFACE...]                       the interfaces of bluetoothd that are not told of
  fail METHOD ERROR [TEXT] [COUNT]           METHOD's next calls (Set.Powered: of a property) fail
  hold METHOD, release METHOD                no answer until released; release says how many
  calls                                      what was called since the last time, one a line
  incoming OBJECT UUID                       a device connects: NewConnection; gives the far end
  far OBJECT                                 the far end of the last ConnectProfile
  disconnection OBJECT UUID                  RequestDisconnection of the profile
  release-profile UUID
  results                                    what the fake's own calls came to, one a line
  model OBJECT MODEL [VALUE]                 how the device pairs: just-works, authorize, confirm,
                                             enter-pin, enter-passkey, show-pin, show-passkey
  pair-in OBJECT                             the device begins a pairing
  typed OBJECT                               somebody typed the shown PIN or passkey on it
  cancel OBJECT                              the device gives up the pairing
"""
import os
import shlex
import socket
import sys

import dbus
import dbus.bus
import dbus.lowlevel
import dbus.mainloop.glib
import dbus.service
from gi.repository import GLib

PROPERTIES = "org.freedesktop.DBus.Properties"
OBJECTS = "org.freedesktop.DBus.ObjectManager"
ERROR = "org.bluez.Error."


def error(name, text=""):
    return dbus.DBusException(text, name=name if "." in name else ERROR + name)


def parse(word):
    """NAME=SIGNATURE:VALUE"""
    name, rest = word.split("=", 1)
    signature, text = rest.split(":", 1)
    if signature == "b":
        return name, dbus.Boolean(text == "true")
    if signature == "as":
        return name, dbus.Array([t for t in text.split(",") if t], signature="s")
    if signature == "ay":
        return name, dbus.Array([dbus.Byte(v) for v in bytes.fromhex(text)], signature="y")
    if signature == "a{sv}":
        uuid, data = text.split(",")
        value = dbus.Array([dbus.Byte(v) for v in bytes.fromhex(data)], signature="y",
                           variant_level=1)
        return name, dbus.Dictionary({uuid: value}, signature="sv")
    kinds = {"s": dbus.String, "o": dbus.ObjectPath}
    if signature in kinds:
        return name, kinds[signature](text)
    kinds = {"n": dbus.Int16, "q": dbus.UInt16, "u": dbus.UInt32, "y": dbus.Byte}
    return name, kinds[signature](int(text, 0))


def method(interface, takes="", gives=""):
    """An exported method that logs, fails and waits as the test wants; the function gets answer."""
    def wrap(function):
        def inner(self, *arguments):
            *values, sender, answered, failed = arguments
            fake.entered(self, function, values, sender, answered, failed)
        names = ", ".join("a%d" % i for i in range(len(list(dbus.Signature(takes)))))
        names += ", " if names else ""
        space = {"inner": inner}
        exec("def %s(self, %ssender=None, ok=None, no=None):\n    inner(self, %ssender, ok, no)\n"
             % (function.__name__, names, names), space)
        return dbus.service.method(interface, in_signature=takes, out_signature=gives,
                                   sender_keyword="sender", async_callbacks=("ok", "no")
                                   )(space[function.__name__])
    return wrap


class Thing(dbus.service.Object):
    def __init__(self, bus, path, interface, properties):
        self.path = path
        self.interface = interface
        self.properties = properties
        dbus.service.Object.__init__(self, bus, path)

    @method(PROPERTIES, "s", "a{sv}")
    def GetAll(self, call, interface):
        call.ok(dbus.Dictionary(self.properties, signature="sv"))

    @method(PROPERTIES, "ss", "v")
    def Get(self, call, interface, name):
        call.ok(self.properties[name])

    @method(PROPERTIES, "ssv")
    def Set(self, call, interface, name, value):
        if name == "Powered" and value and self.path in fake.blocked:
            raise error("Blocked", "Blocked through rfkill")
        if name == "Discoverable" and not self.properties.get("Powered"):
            raise error("Failed", "Not Powered")
        call.ok()
        self.change({name: value})

    def change(self, properties, gone=()):
        for name in gone:
            self.properties.pop(name, None)
        self.properties.update(properties)
        fake.signal(self.path, PROPERTIES, "PropertiesChanged", "sa{sv}as", self.interface,
                    properties, list(gone))


class Root(dbus.service.Object):
    @method(OBJECTS, "", "a{oa{sa{sv}}}")
    def GetManagedObjects(self, call):
        objects = {t.path: fake.interfaces(t) for t in fake.things.values()}
        objects["/org/bluez"] = fake.managers("AgentManager1", "ProfileManager1")
        call.ok(dbus.Dictionary(objects, signature="oa{sa{sv}}"))


class Manager(dbus.service.Object):
    @method("org.bluez.ProfileManager1", "osa{sv}")
    def RegisterProfile(self, call, path, uuid, options):
        if (uuid, str(options.get("Role", ""))) in fake.profiles:
            raise error("AlreadyExists", "Already Exists")
        fake.profiles[(str(uuid), str(options.get("Role", "")))] = (call.sender, str(path))
        call.ok()

    @method("org.bluez.ProfileManager1", "o")
    def UnregisterProfile(self, call, path):
        for key, value in list(fake.profiles.items()):
            if value == (call.sender, str(path)):
                del fake.profiles[key]
                call.ok()
                return
        raise error("DoesNotExist", "Does Not Exist")

    @method("org.bluez.AgentManager1", "os")
    def RegisterAgent(self, call, path, capability):
        fake.agent = (call.sender, str(path))
        call.ok()

    @method("org.bluez.AgentManager1", "o")
    def UnregisterAgent(self, call, path):
        fake.agent = None
        call.ok()

    @method("org.bluez.AgentManager1", "o")
    def RequestDefaultAgent(self, call, path):
        call.ok()


class Adapter(Thing):
    @method("org.bluez.Adapter1")
    def StartDiscovery(self, call):
        if not self.properties["Powered"]:
            raise error("NotReady", "Resource Not Ready")
        call.ok()
        self.change({"Discovering": dbus.Boolean(True)})

    @method("org.bluez.Adapter1")
    def StopDiscovery(self, call):
        if not self.properties["Discovering"]:
            raise error("Failed", "No discovery started")
        call.ok()
        self.change({"Discovering": dbus.Boolean(False)})

    @method("org.bluez.Adapter1", "a{sv}")
    def SetDiscoveryFilter(self, call, properties):
        call.ok()

    @method("org.bluez.Adapter1", "o")
    def RemoveDevice(self, call, path):
        thing = fake.things.get(str(path))
        if not thing:
            raise error("DoesNotExist", "Does Not Exist")
        call.ok()
        fake.remove(thing)

    @method("org.bluez.LEAdvertisingManager1", "oa{sv}")
    def RegisterAdvertisement(self, call, path, options):
        call.ok()

    @method("org.bluez.LEAdvertisingManager1", "o")
    def UnregisterAdvertisement(self, call, path):
        call.ok()

    @method("org.bluez.NetworkServer1", "ss")
    def Register(self, call, uuid, bridge):
        call.ok()

    @method("org.bluez.NetworkServer1", "s")
    def Unregister(self, call, uuid):
        call.ok()


class Device(Thing):
    model = ("just-works", "")
    pairing = None  # the call of Pair(), or True when the device began
    far = None

    @method("org.bluez.Device1")
    def Connect(self, call):
        call.ok()
        self.change({"Connected": dbus.Boolean(True)})

    @method("org.bluez.Device1")
    def Disconnect(self, call):
        call.ok()
        self.change({"Connected": dbus.Boolean(False)})

    @method("org.bluez.Device1", "s")
    def ConnectProfile(self, call, uuid):
        if (str(uuid), "client") not in fake.profiles:
            raise error("InvalidArguments", "Invalid arguments in method call")
        near, self.far = socket.socketpair()
        self.change({"Connected": dbus.Boolean(True)})

        def done(result):
            if result == "ok":
                call.ok()
            else:
                call.failed(error("Failed", "br-connection-refused"))
        fake.new_connection(self, (str(uuid), "client"), near, done)

    @method("org.bluez.Device1", "s")
    def DisconnectProfile(self, call, uuid):
        call.ok()

    @method("org.bluez.Device1")
    def Pair(self, call):
        if self.properties["Paired"]:
            raise error("AlreadyExists", "Already Exists")
        if self.pairing:
            raise error("InProgress", "In Progress")
        self.pairing = call
        self.ask(self.model[0])

    @method("org.bluez.Device1")
    def CancelPairing(self, call):
        if not self.pairing:
            raise error("DoesNotExist", "Does Not Exist")
        call.ok()
        self.give_up()

    def give_up(self):
        if fake.agent:
            fake.agent_call("Cancel", "", (), lambda *a: None, lambda e: None)
        self.paired("AuthenticationCanceled")

    def paired(self, failure=None):
        call, self.pairing = self.pairing, None
        if not failure:
            self.change({"Paired": dbus.Boolean(True), "Bonded": dbus.Boolean(True)})
        if call and call is not True:
            if failure:
                call.failed(error(failure, "Authentication"))
            else:
                call.ok()

    def ask(self, model):
        value = self.model[1]
        path = dbus.ObjectPath(self.path)
        reject = lambda e: self.pairing and self.paired(
            "AuthenticationCanceled" if e.get_dbus_name() == ERROR + "Canceled" else
            "AuthenticationRejected")
        accept = lambda *a: self.pairing and self.paired()
        typed = lambda got: self.pairing and self.paired(
            None if str(got) == value or (str(got).isdigit() and value.isdigit() and
                                          int(got) == int(value)) else "AuthenticationFailed")
        if model == "just-works":
            self.paired()
        elif not fake.agent:
            self.paired("AuthenticationRejected")
        elif model == "authorize":
            fake.agent_call("RequestAuthorization", "o", (path,), accept, reject)
        elif model == "confirm":
            fake.agent_call("RequestConfirmation", "ou", (path, dbus.UInt32(int(value))), accept,
                            reject)
        elif model == "enter-pin":
            fake.agent_call("RequestPinCode", "o", (path,), typed, reject)
        elif model == "enter-passkey":
            fake.agent_call("RequestPasskey", "o", (path,), typed, reject)
        elif model == "show-pin":
            fake.agent_call("DisplayPinCode", "os", (path, value), lambda *a: None, reject)
        elif model == "show-passkey":
            fake.agent_call("DisplayPasskey", "ouq", (path, dbus.UInt32(int(value)),
                                                      dbus.UInt16(0)), lambda *a: None, reject)


class Call:
    def __init__(self, name, sender, ok, failed):
        self.name, self.sender, self.ok, self.failed = name, sender, ok, failed


class Fake:
    def __init__(self, address, fd):
        self.address = address
        self.control = socket.socket(fileno=fd)
        self.bus = None
        self.exported = []
        self.things = {}
        self.profiles = {}
        self.agent = None
        self.blocked = set()
        self.lacking = set()
        self.failures = {}
        self.holding = {}
        self.log = []
        self.outcomes = []
        GLib.io_add_watch(self.control.fileno(), GLib.IO_IN | GLib.IO_HUP, self.on_command)

    # What the methods above use.

    def entered(self, thing, function, values, sender, answered, failed):
        name = function.__name__
        call = Call(name, sender, answered, failed)
        where = self.short(thing.path) + " " if hasattr(thing, "path") else ""
        if name != "GetManagedObjects":
            self.log.append((where + name + " " + " ".join(self.show(v) for v in values)).strip())
        if name == "Set":
            name = "Set." + values[1]

        def go():
            try:
                function(thing, call, *values)
            except dbus.DBusException as e:
                failed(e)
        rule = self.failures.get(name)
        if rule:
            rule[2] -= 1
            if rule[2] == 0:
                del self.failures[name]
            failed(error(rule[0], rule[1]))
        elif name in self.holding:
            self.holding[name].append(go)
        else:
            go()

    def show(self, value):
        if isinstance(value, dict):
            return "{" + ", ".join("%s: %s" % (k, self.show(v))
                                   for k, v in sorted(value.items())) + "}"
        if isinstance(value, (list, tuple)):
            return "[" + ", ".join(self.show(v) for v in value) + "]"
        if isinstance(value, dbus.Boolean):
            return "true" if value else "false"
        return str(value)

    def signal(self, path, interface, member, signature, *arguments):
        m = dbus.lowlevel.SignalMessage(path, interface, member)
        m.append(*arguments, signature=signature)
        self.bus.send_message(m)

    def managers(self, *names):
        return dbus.Dictionary({"org.bluez." + n: dbus.Dictionary({}, signature="sv")
                                for n in names if n not in self.lacking}, signature="sa{sv}")

    def interfaces(self, thing):
        told = self.managers()
        if isinstance(thing, Adapter):
            told = self.managers("GattManager1", "LEAdvertisingManager1", "NetworkServer1")
        told[thing.interface] = dbus.Dictionary(thing.properties, signature="sv")
        return told

    def add(self, thing):
        self.things[thing.path] = thing
        self.signal("/", OBJECTS, "InterfacesAdded", "oa{sa{sv}}", thing.path,
                    self.interfaces(thing))

    def remove(self, thing):
        for below in [t for t in self.things.values() if t.path.startswith(thing.path + "/")]:
            self.remove(below)
        del self.things[thing.path]
        thing.remove_from_connection()
        self.signal("/", OBJECTS, "InterfacesRemoved", "oas", thing.path, [thing.interface])

    def agent_call(self, member, signature, arguments, accept, reject):
        def refused(e):
            self.outcomes.append(e.get_dbus_name())
            reject(e)
        self.bus.call_async(self.agent[0], self.agent[1], "org.bluez.Agent1", member, signature,
                            arguments, accept, refused, timeout=60)

    def profile_call(self, key, member, signature, arguments, done):
        def outcome(text):
            self.outcomes.append(text)
            done(text)
        sender, path = self.profiles[key]
        self.bus.call_async(sender, path, "org.bluez.Profile1", member, signature, arguments,
                            lambda *a: outcome("ok"), lambda e: outcome(e.get_dbus_name()))

    def new_connection(self, device, key, near, done):
        fd = dbus.types.UnixFd(near)
        near.close()
        self.profile_call(key, "NewConnection", "oha{sv}",
                          (dbus.ObjectPath(device.path), fd,
                           dbus.Dictionary({"Version": dbus.UInt16(0x0100)}, signature="sv")), done)

    # Commands.

    def short(self, path):
        parts = path.split("/")[3:]
        return "/".join([parts[0]] + [p[4:].replace("_", ":") for p in parts[1:]]) if parts else "/"

    def path(self, name):
        adapter, _, device = name.partition("/")
        path = "/org/bluez/" + adapter
        return path + "/dev_" + device.replace(":", "_") if device else path

    def thing(self, name):
        return self.things[self.path(name)]

    def do_daemon(self, what):
        if what == "start":
            self.bus = dbus.bus.BusConnection(self.address)
            self.bus.set_exit_on_disconnect(False)
            self.exported = [Root(self.bus, "/"), Manager(self.bus, "/org/bluez")]
            if self.bus.request_name("org.bluez") != dbus.bus.REQUEST_NAME_REPLY_PRIMARY_OWNER:
                raise RuntimeError("org.bluez is taken")
            return
        for thing in list(self.things.values()) + self.exported:
            thing.remove_from_connection()
        self.things, self.profiles, self.agent, self.holding = {}, {}, None, {}
        self.bus.close()
        self.bus = None

    def do_adapter(self, what, name, address="", *properties):
        path = self.path(name)
        if what == "remove":
            self.remove(self.things[path])
            return
        have = {"Address": dbus.String(address), "AddressType": dbus.String("public"),
                "Name": dbus.String("fake"), "Alias": dbus.String("fake"),
                "Powered": dbus.Boolean(False), "Discoverable": dbus.Boolean(False),
                "DiscoverableTimeout": dbus.UInt32(180), "Pairable": dbus.Boolean(False),
                "Discovering": dbus.Boolean(False)}
        have.update(parse(p) for p in properties)
        self.add(Adapter(self.bus, path, "org.bluez.Adapter1", have))

    def do_device(self, what, name, *properties):
        path = self.path(name)
        if what == "remove":
            self.remove(self.things[path])
            return
        adapter, address = name.split("/")
        have = {"Address": dbus.String(address), "AddressType": dbus.String("public"),
                "Alias": dbus.String(address), "Adapter": dbus.ObjectPath(self.path(adapter)),
                "UUIDs": dbus.Array([], signature="s")}
        have.update({n: dbus.Boolean(False) for n in
                     ("Paired", "Bonded", "Trusted", "Connected", "Blocked", "LegacyPairing")})
        have.update(parse(p) for p in properties)
        self.add(Device(self.bus, path, "org.bluez.Device1", have))

    def do_set(self, name, *properties):
        self.thing(name).change(dbus.Dictionary(dict(parse(p) for p in properties),
                                                signature="sv"))

    def do_unset(self, name, *names):
        self.thing(name).change(dbus.Dictionary({}, signature="sv"), names)

    def do_get(self, name, what):
        return self.show(self.thing(name).properties.get(what, ""))

    def do_rfkill(self, name, what):
        path = self.path(name)
        if what == "on":
            self.blocked.add(path)
            self.things[path].change({"Powered": dbus.Boolean(False)})
        else:
            self.blocked.discard(path)

    def do_lacks(self, *names):
        self.lacking = set(names)

    def do_fail(self, name, which, text="", count="1"):
        self.failures[name] = [which, text, int(count)]

    def do_hold(self, name):
        self.holding.setdefault(name, [])

    def do_release(self, name):
        held = self.holding.pop(name)
        for go in held:
            go()
        return str(len(held))

    def do_calls(self):
        text, self.log = "\n".join(self.log), []
        return text

    def do_results(self):
        text, self.outcomes = "\n".join(self.outcomes), []
        return text

    def do_incoming(self, name, uuid):
        near, far = socket.socketpair()
        device = self.thing(name)
        device.change({"Connected": dbus.Boolean(True)})
        self.new_connection(device, (uuid, "server"), near, lambda result: None)
        return far

    def do_far(self, name):
        device = self.thing(name)
        far, device.far = device.far, None
        return far

    def do_disconnection(self, name, uuid):
        for key in self.profiles:
            if key[0] == uuid:
                self.profile_call(key, "RequestDisconnection", "o",
                                  (dbus.ObjectPath(self.path(name)),), lambda result: None)

    def do_release_profile(self, uuid):
        for key in [k for k in self.profiles if k[0] == uuid]:
            self.profile_call(key, "Release", "", (), lambda result: None)
            del self.profiles[key]

    def do_model(self, name, model, value=""):
        self.thing(name).model = (model, value)

    def do_pair_in(self, name):
        device = self.thing(name)
        device.pairing = True
        device.ask("authorize" if device.model[0] == "just-works" else device.model[0])

    def do_typed(self, name):
        self.thing(name).paired()

    def do_cancel(self, name):
        self.thing(name).give_up()

    def on_command(self, source, condition):
        packet = self.control.recv(65536)
        if not packet:
            loop.quit()
            return False
        words = shlex.split(packet.decode())
        try:
            result = getattr(self, "do_" + words[0].replace("-", "_"))(*words[1:])
            if self.bus:
                self.bus.flush()
        except Exception as e:
            self.control.send(("error %s: %r" % (packet.decode(), e)).encode())
            return True
        if isinstance(result, socket.socket):
            socket.send_fds(self.control, [b"ok"], [result.fileno()])
            result.close()
        else:
            self.control.send(("ok " + (result or "")).encode())
        return True


dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
fake = Fake(sys.argv[1], int(sys.argv[2]))
loop = GLib.MainLoop()
loop.run()
os._exit(0)
