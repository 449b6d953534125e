module heed/conformance

go 1.26
