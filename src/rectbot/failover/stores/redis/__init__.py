"""The register in Redis 7 or Valkey."""

from rectbot.failover.stores.redis.register import RedisRegister

__all__ = ["RedisRegister"]
