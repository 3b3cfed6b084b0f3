module servers

go 1.25
