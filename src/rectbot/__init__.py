"""rectbot keeps one chat bot alive across two cheap hosts, never logged in twice."""

__version__ = "0.1.0"
