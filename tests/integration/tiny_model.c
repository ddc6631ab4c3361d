/* Prints the path of a new folder with a tiny model of random weights, for scripts. */
#include "tiny_model.h"

int main(void) {
  struct tiny_model m;
  if (!tiny_model_make(&m, 7)) return 1;
  puts(m.dir);
  return 0;
}
