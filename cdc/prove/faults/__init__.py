"""All faults, by family; each module ends with its `FAULTS`."""

from __future__ import annotations

from cdc.prove.fault import Fault
from cdc.prove.faults import cluster, data, failpoints, gaps, machine, network, processes, servers

ALL: tuple[Fault, ...] = (
    *processes.FAULTS,
    *failpoints.FAULTS,
    *servers.FAULTS,
    *cluster.FAULTS,
    *network.FAULTS,
    *machine.FAULTS,
    *data.FAULTS,
    *gaps.FAULTS,
)
"""In the order of the table."""
