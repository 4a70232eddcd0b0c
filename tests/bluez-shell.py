#!/usr/bin/python3
"""tests/fake-bluez.py for a shell: bluez-shell.py BUS-ADDRESS; a command on each line of standard
input (\\n and \\e in it are meant), its answer on one line of standard output. Ends with its
input."""
import os
import socket
import subprocess
import sys

here = os.path.dirname(os.path.abspath(__file__))
near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
fake = subprocess.Popen([sys.executable, here + "/fake-bluez.py", sys.argv[1], str(far.fileno())],
                        pass_fds=[far.fileno()])
far.close()
for line in sys.stdin:
    near.send(line.strip().replace("\\n", "\n").replace("\\e", "\x1b").encode())
    print(near.recv(65536).decode().replace("\n", "; "), flush=True)
near.close()
fake.wait()
