"""The Discord bot: ours or the user's own client, run as a workload under the failover's lease."""
