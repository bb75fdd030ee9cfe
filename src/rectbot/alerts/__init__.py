"""Messages to a Discord webhook: by hand, and through Alertmanager."""
