module sluice/test/load/open-loop

go 1.24
