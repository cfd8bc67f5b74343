/* Stores three cities, asks for one, lists all. */
#include <helios/helios.h>
#include <stdio.h>
#include <string.h>

#define TEXT(s) ((helios_slice){(s), strlen(s)})

int main(void)
{
    helios_db *db;
    helios_iter *cities;
    helios_buf country = {0};

    if (helios_open("first.db", NULL, &db) != HELIOS_OK)
        return fprintf(stderr, "%s\n", helios_last_error()), 1;
    helios_put(db, NULL, TEXT("city:oslo"), TEXT("Norway"));
    helios_put(db, NULL, TEXT("city:lima"), TEXT("Peru"));
    helios_put(db, NULL, TEXT("city:kyoto"), TEXT("Japan"));

    if (helios_get(db, NULL, TEXT("city:lima"), &country) == HELIOS_OK)
        printf("Lima is in %.*s\n", (int)country.size, country.data);
    helios_buf_free(&country);

    if (helios_iter_new(db, NULL, &cities) != HELIOS_OK)
        return fprintf(stderr, "%s\n", helios_last_error()), 1;
    for (helios_iter_first(cities); helios_iter_valid(cities); helios_iter_next(cities))
        printf("%.*s\n", (int)helios_iter_key(cities).size, (const char *)helios_iter_key(cities).data);
    helios_iter_free(cities);
    return helios_close(db) == HELIOS_OK ? 0 : 1;
}
