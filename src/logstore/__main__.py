"""`python -m logstore`"""

from foundation.command import run
from logstore.command import serve

run("logstore", serve)
