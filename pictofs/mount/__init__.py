"""The composition root: from a command line to a mount that answers, and to nothing left.

    settings    options, values, configuration, keys, plan, start: what was said, checked; the way up
                reread, rereading, reload: the same again under a live mount, at SIGHUP
    supervisor  supervisor with events, server (the serving process), supply (the fetching one), channel,
                watch, deaths, record, logs, notify; background and failures: how it becomes a daemon
                handover, resumed, upgrade: another program in its place
    serving     serving with assembly, attaching, listening, report, scraped and scraping
    kernel      mountpoint, descriptor, overlay: what is mounted, and taken away again
    outside     helper (mount.pictofs), leave (umount), asked and advising (commands to live mounts), caches,
                rates, installation, places (where everything lies), fetching (starts `pictofs.mirror`)
"""
