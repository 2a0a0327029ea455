"""How to talk to each kind of provider: compose requests, interpret responses, parse callbacks. No I/O, no clock."""
