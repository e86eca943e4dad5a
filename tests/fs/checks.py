"""Checks as TAP lines, and calls by their errno."""

import errno
import sys

n_checks = failed = 0


def check(what, got, *wanted):
    global n_checks, failed
    n_checks += 1
    good = got in wanted
    failed += not good
    print('%sok %d - %s' % ('' if good else 'not ', n_checks, what), flush=True)
    if not good:
        print('# got %s, wanted %s' % (str(got)[:300], ' or '.join(map(str, wanted))[:300]))


def err(f, *args):
    try:
        r = f(*args)
    except OSError as e:
        return errno.errorcode.get(e.errno, e.errno)
    except (OverflowError, ValueError) as e:
        return type(e).__name__
    return 'ok' if r is None else r


def done():
    """Prints the plan, where there was a check, and ends the program."""
    if n_checks:
        print('1..%d' % n_checks)
    sys.exit(failed > 0)
