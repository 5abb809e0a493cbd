"""What the end-to-end tests stand on: real seeders, trackers and media, and a running magnetfs."""
