// Nothing but its precompiled headers, which other targets use.
