"""All faults, by family; each is a `cdc.prove.fault.Fault`."""
