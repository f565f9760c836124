"""The engine of the asset lists: which assets pass a filter, one page of them in order, and counts of their tags.

The goal is a page within milliseconds in a library of a million assets. Nothing scans the library for a page, and
nothing counts it for a total. This is how:

1. *Filter by tag sets* (``tag_filters``, ``filters``). An asset points to a tag set: its owner, the tags of its place,
   and whether it is deleted or missing. There are at most some hundreds of sets, so owner and tags are tested on them,
   not on assets. Triggers count the assets of each set, and the assets of each set that carry a user's tag, so these
   counts also give the total. What remains is one of two selections:

   - ``RowSelection``: a condition on the rows of assets. SQLite either gathers the assets of a few sets, or walks the
     index of the sort order and tests each entry; the indexes contain the tag set, so that no row is read in vain. A
     filter that needs a user's tag starts with the index of that tag, which is in the order of creation.
   - ``IdSelection``: a set of ids, as a bitmap (``bitmap``). Searches for words and names produce it from the full-text
     indexes (``db.fulltext``). Further filters are intersected with it, each in the direction that reads fewer assets.

   Values that no index serves, such as kinds, stars and dimensions, are kept in memory as arrays (``columns``).
   Triggers write changes of assets to ``asset_changes``, and these rows are read again before the next use. Conditions
   on the arrays give a set of ids within a millisecond, and so do counts by kind, stars or day (``facets``).

2. *Read a page* (``pages``). Pages continue from the sort key and id of the last row (keyset), so a late page costs as
   much as the first. To put a set of ids in order, either its members are sorted, or all assets are walked in order
   until the page is full: the more members, the sooner. For names there is also a cached order of all assets.

3. *Count tags* (``counts``). Without a search, histograms are sums of the counts that triggers keep. Within a set of
   ids, assets are counted set by set and tag by tag on the bitmap.

Results of searches are cached until the index changes (``connection.ResultCache``), because the next page, another
order and the histogram ask for the same set again.
"""
