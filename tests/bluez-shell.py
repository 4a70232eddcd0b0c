#!/usr/bin/python3
"""tests/fake-bluez.py for a shell: bluez-shell.py BUS-ADDRESS; a command on each line of standard
input (\\n and \\e in it are meant), its answer on one line of standard output. Ends with its
input. One command more:

  join OBJECT UUID PATH     a Unix socket; the device connects, as "incoming", with what connects there
"""
import os
import socket
import subprocess
import sys
import threading

here = os.path.dirname(os.path.abspath(__file__))
near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
fake = subprocess.Popen([sys.executable, here + "/fake-bluez.py", sys.argv[1], str(far.fileno())],
                        pass_fds=[far.fileno()])
far.close()
asking = threading.Lock()


def ask(command):
    """The answer, and the descriptors that came with it."""
    with asking:
        near.send(command.encode())
        answer, fds, _, _ = socket.recv_fds(near, 65536, 1)
    return answer.decode(), [socket.socket(fileno=fd) for fd in fds]


def pour(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        sink.close()


def join(listener, command):
    while True:
        here, _ = listener.accept()
        _, (there,) = ask("incoming " + command)
        for pair in (here, there), (there, here):
            threading.Thread(target=pour, args=pair, daemon=True).start()


for line in sys.stdin:
    line = line.strip().replace("\\n", "\n").replace("\\e", "\x1b")
    if line.startswith("join "):
        command, path = line[5:].rsplit(" ", 1)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        threading.Thread(target=join, args=(listener, command), daemon=True).start()
        print("ok", flush=True)
    else:
        print(ask(line)[0].replace("\n", "; "), flush=True)
near.close()
fake.wait()
