module go_notes

go 1.19
