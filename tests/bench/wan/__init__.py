"""scripts/bench --wan: magnetfs in an emulated wide-area swarm, on one machine."""
