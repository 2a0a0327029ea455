"""What things are and what follows from what: values in, decision out, no I/O, no clock."""
