"""`python -m localdiscord`"""

from foundation.command import run
from localdiscord.command import main

run("localdiscord", main)
