"""The workflow: one readable driver over the transition table, and the process around it."""
