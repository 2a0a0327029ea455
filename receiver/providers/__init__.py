"""How each provider speaks: compose a request, interpret an answer, parse a callback; pure."""
