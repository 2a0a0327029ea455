"""One exchange with whoever we send to or ask: when it may begin, and how it goes."""
