"""Data formats that HTTP and all protocols use: JSON, server-sent events, AWS event streams and retry times. Pure."""
