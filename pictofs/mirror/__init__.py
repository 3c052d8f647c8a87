"""The fetching process: one for each cache directory, shared by its mounts.

It joins the service (`api`, `storage`) to what is kept (`catalog`, `store`) and answers the `link`. What
decides is pure and stands apart from what acts:

    decides   availability  may the service be asked, and what is served when it is away
              revalidate    what of the catalog is too old for a look
              plan          which blocks are fetched next; where look-ahead and fill will enter
    acts      process       election, signals, the end
              dispatch      one conversation with each mount: requests, waits, pushes
              attach        accounts → organizations
              looks         revalidation, by way of listing, exports, annotations
              fetch         blocks: single flight, priorities; by way of images, exports, annotations
              links         the pool of signed URLs
              room          what is kept, what must go, and bytes that cannot be kept at all
              upkeep        what gathers over months
              control       status, refresh, pin, advise
    carries   calls         API calls in a few threads, the urgent first
              transfer      storage transfers, as awaitables
              writer        the one thread that writes catalog and store

Everything that acts runs in one event loop; `calls` and `writer` are the only ways out of its thread.
"""
