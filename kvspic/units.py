"""Units of time, once for all modules: ``HNS`` are the core's ticks of 100 ns, ``NS`` the nanoseconds of the facade."""

__all__ = ["HNS_PER_HOUR", "HNS_PER_MS", "HNS_PER_S", "NS_PER_HNS", "NS_PER_MS", "NS_PER_S", "NS_PER_US"]

NS_PER_HNS = 100
NS_PER_US = 1_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
HNS_PER_MS = NS_PER_MS // NS_PER_HNS
HNS_PER_S = NS_PER_S // NS_PER_HNS
HNS_PER_HOUR = 3_600 * HNS_PER_S
