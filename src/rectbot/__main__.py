"""`python -m rectbot` is the same command as `rectbot`."""

from rectbot.cli import main

main()
