"""The cleaning filters: pure functions of one episode, and the plug-ins that find them."""
