"""What is more than sampling a model: translating, summarising, talking. Works on anything that samples from sources,
such as `genloom.run.Run`; how a text is decoded for a task is said here, how it is learnt in the families."""
