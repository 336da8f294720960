"""Runs one command and tells what it used: `python -I -S launch.py FILE COMMAND...`.

A process begins with the memory of the one that started it, and the kernel counts that as the most
it ever had. So this imports next to nothing. FILE gets a JSON object; what the command says goes
where this process's own output goes.
"""

import json
import os
import sys
import time


def main() -> None:
    file, *words = sys.argv[1:]
    begun = time.monotonic()
    pid = os.posix_spawn(words[0], words, os.environ)
    _, status, used = os.wait4(pid, 0)
    wall, cpu = time.monotonic() - begun, used.ru_utime + used.ru_stime
    code = os.waitstatus_to_exitcode(status)
    with open(file, "w") as told:  # noqa: PTH123  pathlib would be most of this process
        json.dump({"code": code, "wall": wall, "cpu": cpu, "rss": used.ru_maxrss / 1024}, told)


if __name__ == "__main__":
    main()
