"""Who survives when memory runs out: scenarios in a node of their own, kept by the kernel, earlyoom or Holdfast."""
