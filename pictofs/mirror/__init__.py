"""The fetching process: one for each cache directory, shared by its mounts.

It joins the service (`api`, `storage`) to what is kept (`catalog`, `store`) and answers the `link`. What
decides is pure and stands apart from what acts:

    decides   availability  may the service be asked, and what is served when it is away
              revalidate    what of the catalog is too old for a look
              plan          which blocks are fetched next
              sequence      how far ahead of who reads an archive in order
              archive_names what the members of an archive are called
              lookahead     which files will be wanted next, by what readers were seen to do
              advice        the same by an order that somebody announced
              pace          how many transfers run at once
              economy       when an export pays as the source of many files
              cutting, shape what an archive's member must be, and how its documents become the API's bodies
              locate        from a node to what it is of
              memory        how many bytes may be on their way
              lines         whose turn it is of what is ahead of several readers
              readers       who reads: a job, a search, an indexer
    acts      process       election, signals, the end
              dispatch      one conversation with each mount: requests, waits, pushes
              attach        accounts → organizations
              looks         revalidation, by way of listing, exports, annotations
              images, annotations, exports  bring what is of them
              bulk          files out of exports, by way of chest (where they lie) and ordering (orders one)
              access        a mount's part in an organization, its key and its policy
              engine        puts all of it together
              fetch         blocks: single flight, priorities; by way of images, exports, annotations
              sights        what readers do, as positions of an order
              prefetch      fetches ahead: windows, fills, announced orders; by way of convoy and bodies
              foresight     what is got ready while a dataset is listed for the first time
              streams       fetches archives ahead of their readers
              openings      archives opened, by way of central (a child) and excerpts; members: their bytes
              warmer        files that somebody asks for by name
              links         the pool of signed URLs
              room          what is kept, what must go, and bytes that cannot be kept at all
              upkeep        what gathers over months
              allowance     bytes of a day
              control       commands over the link
              singleflight  one run for many who want the same; flight: one block that is fetched
    carries   calls         API calls in a few threads, the urgent first
              transfer      storage transfers, as awaitables
              carriage      storage transfers by the batch, by way of carter (a child); freight: their words
              runs          adjacent blocks of an archive, as one transfer
              convoy        images by the batch, without a task for each
              writer        the one thread that writes catalog and store

Everything that acts runs in one event loop. API calls leave its thread by `calls`, whatever changes catalog
or store by `writer`; long reads (an order, the use of the store, a member that is inflated or checked) run in
a thread of their own, and `carter` and `central` out of the process.
"""
