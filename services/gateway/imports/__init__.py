"""What `lumni import` takes over from other gateways: a reader for each source, one set of records, one writer."""
