module heed/benchmarks/peers/go

go 1.25
