"""One suite for every driver, over a real mount, a real catalog and a fetching process that the test plays."""
