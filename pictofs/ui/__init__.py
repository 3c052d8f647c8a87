"""`pictofs ui`: a page on this machine that shows what mounts do, and the pictures on them.

browser ──▶ server ──▶ guard      who may ask                    (pure)
                   ──▶ figures    status documents over time
                   ──▶ faults     what is wrong, and the mend    (pure)
                   ──▶ gallery    pictures and what is drawn on them, read below a mountpoint
"""

from __future__ import annotations
