# Blocks of docs/backends.md, as /share/backends.md, that are marked for a scene.

# Writes the files of a scene where the document says, and prints their paths.
write_files() {
  awk -v scene="$1" '
    /^```/ && path { close(path); path = ""; next }
    path { print > path; next }
    /^```ini / {
      scenes = file = ""
      for (word = 2; word <= NF; word++) {
        if ($word ~ /^backend=/) scenes = "," substr($word, 9) ","
        if ($word ~ /^file=/) file = substr($word, 6)
      }
      if (index(scenes, "," scene ",")) {
        path = file
        folder = path
        sub("/[^/]*$", "", folder)
        system("mkdir -p " folder)
        printf "" > path
        print path
      }
    }' /share/backends.md
}

# Prints the commands that the document has for a scene of this guest.
commands() {
  awk -v scene="$1" '
    /^```/ && shown { shown = 0; next }
    shown
    /^```sh booted=/ { shown = index("," substr($2, 8) ",", "," scene ",") }' /share/backends.md
}
