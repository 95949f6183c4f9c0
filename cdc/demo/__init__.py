"""The demo: a legacy warehouse feeds two services through kills, and is compared with them. Nothing here."""
