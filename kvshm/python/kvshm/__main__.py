# SPDX-License-Identifier: Apache-2.0
"""python -m kvshm COMMAND"""
import sys

from . import doctor

COMMANDS = {"doctor": doctor.main}


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        print(f"usage: python -m kvshm {{{'|'.join(COMMANDS)}}} [--help]", file=sys.stderr)
        return 2
    return COMMANDS[sys.argv[1]](sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
